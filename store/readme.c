/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "store/readme.h"

const char *readme(void)
{
    static const char text[] =
        "\xef\xbb\xbf"
        "BODA\r\n"
        "\r\n"
        "English\r\n"
        "These files are health records on their way between health workers and their health office. They are sealed:\r\n"
        "nobody can read them, neither who carries them nor who finds them. Please do not change or rename them. Bring this\r\n"
        "stick to the health office, or give it back to the health worker. Copies do no harm.\r\n"
        "\r\n"
        "Français\r\n"
        "Ces fichiers sont des dossiers de santé en route entre les agents de santé et leur bureau de santé. Ils sont scellés :\r\n"
        "personne ne peut les lire, ni qui les transporte, ni qui les trouve. Ne les modifiez pas et ne les renommez pas.\r\n"
        "Apportez cette clé au bureau de santé, ou rendez-la à l'agent de santé. Les copies ne font aucun mal.\r\n"
        "\r\n"
        "Kiswahili\r\n"
        "Faili hizi ni kumbukumbu za afya zinazosafirishwa kati ya wahudumu wa afya na ofisi yao ya afya. Zimefungwa kwa\r\n"
        "siri: hakuna anayeweza kuzisoma, si anayezibeba wala anayezipata. Tafadhali usizibadilishe wala kuzipa majina\r\n"
        "mapya. Peleka kifaa hiki kwenye ofisi ya afya, au mrudishie mhudumu wa afya. Nakala hazina madhara.\r\n"
        "\r\n"
        "नेपाली\r\n"
        "यी फाइलहरू स्वास्थ्यकर्मी र स्वास्थ्य कार्यालयबीच लैजाँदै गरिएका स्वास्थ्य अभिलेख हुन्। यी सुरक्षित रूपमा बन्द गरिएका छन्:\r\n"
        "बोक्ने वा भेट्टाउने कसैले पनि पढ्न सक्दैन। कृपया यिनलाई परिवर्तन नगर्नुहोस् र नाम नफेर्नुहोस्। यो पेनड्राइभ स्वास्थ्य\r\n"
        "कार्यालयमा लैजानुहोस्, वा स्वास्थ्यकर्मीलाई फिर्ता दिनुहोस्। प्रतिलिपि बनाउँदा कुनै हानि हुँदैन।\r\n";

    return text;
}
